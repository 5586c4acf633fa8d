"""How people, dates, numbers and addresses are written in reports, in English, Chinese and some European languages.

Each pattern's group `gone`, or the whole match where it has none, is what is taken out.
"""

from __future__ import annotations

import re

_MONTH = (
    r"(?:jan(?:uary|uar|vier)?|feb(?:ruary|ruar)?|mar(?:ch|s)?|m\u00e4rz|apr(?:il)?|ma[iy]|june?|juni|july?|juli|"
    r"aug(?:ust)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cszr](?:ember|ember)?)"
)
_YEAR = r"(?:1[89]\d\d|20\d\d|['’]?\d\d)"
_CLOCK = r"(?:[T ,]+\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:\s?[ap]m|Z|[+-]\d{2}:?\d{2})?)?"
_CN_NUMBER = r"[\d〇零一二三四五六七八九十]{1,4}"
_HAN = r"[\u4e00-\u9fff]"
# The surnames of more than four of five people in China.
SURNAMES = (
    "欧阳|上官|司马|诸葛|司徒|王|李|张|刘|陈|杨|黄|赵|吴|周|徐|孙|马|朱|胡|郭|何|高|林|罗|郑|梁|谢|宋|唐|许|韩|冯|邓|曹|彭|曾|肖|田|董|袁|潘|"
    "于|蒋|蔡|余|杜|叶|程|苏|魏|吕|丁|任|沈|姚|卢|姜|崔|钟|谭|陆|汪|范|金|石|廖|贾|夏|韦|付|方|白|邹|孟|熊|秦|邱|江|尹|薛|闫|段|雷|侯|龙|史|"
    "陶|黎|贺|顾|毛|郝|龚|邵|万|钱|严|覃|武|戴|莫|孔|向|汤"
)
_CN_TITLE = "主任医师|副主任医师|主治医师|住院医师|主任|医生|医师|大夫|教授|护士长|护士|先生|女士|小姐|老师|同志|技师"
_CN_LABEL = (
    "姓名|患者姓名|患者|病人|报告医[生师]|审核医[生师]|检查医[生师]|诊断医[生师]|申请医[生师]|主治医[生师]|"
    "医[生师]签名|签名|联系人|家属|记录者|报告者|审核者"
)
_WORD = r"[A-Z\u00c0-\u00de][\w'’\u00c0-\u024f-]+"
_PERSON = (
    rf"(?:{_WORD}|[A-Z]\.?(?=[\s,]))(?:(?:[ \t]+|,[ \t]*)(?:{_WORD}|[A-Z]\b\.?|van|von|de|der|den|da|la|el|bin|al)){{0,5}}"
)
_STREET = (
    r"(?:Street|St\.?|Road|Rd\.?|Avenue|Ave\.?|Lane|Ln\.?|Drive|Boulevard|Blvd\.?|Way|Court|Place|Square|Terrace|"
    r"Parkway|Close)"
)


def _p(text: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(text, flags)


IGNORE = re.IGNORECASE
_SEP_DAY, _SEP_MONTH = r"(?:[12]\d|3[01]|0?[1-9])", r"(?:0?[1-9]|1[0-2])"
_LONG_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_PHONE_LABEL = r"(?:\b(?:tel|phone|fax|mobile|cell|call|bleep|pager|tlf|telefon|ext)\b\.?|电话|手机|传真|联系方式)"
_NUMBER_LABEL = (
    r"(?:\b(?:MRN|NHS(?: no\.?| number)?|patient (?:id|no\.?|number)|hospital (?:id|no\.?|number)|case (?:no\.?|number)|"
    r"acc(?:ession)?(?: no\.?| number| ?#)|order (?:no\.?|number)|SSN|ID)\b|病历号|住院号|门诊号|检查号|影像号|病案号|"
    r"就诊卡号|卡号|床号|身份证(?:号码?)?|医保号|编号)"
)
_TITLES = r"(?:Dr|Drs|Prof|Professor|Doctor|Mr|Mrs|Ms|Miss|Mx|Herr|Frau|Nurse|Sir)"
_ROLES = (
    r"(?:[Pp]atient(?:'s)?(?: name)?|[Nn]ame|[Rr]adiologist|[Pp]hysician|[Aa]ttending|[Rr]esident|[Tt]echnologist|"
    r"[Ss]onographer|[Cc]onsultant)"
)
_SIGNED = (
    r"(?:[Rr]eported|[Ss]igned|[Dd]ictated|[Rr]ead|[Vv]erified|[Aa]pproved|[Rr]eviewed|[Tt]ranscribed|[Pp]erformed|"
    r"[Ii]nterpreted|[Rr]eferred)(?:\s+electronically)?\s+by"
)

NUMBERS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("email", _p(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")),
    ("url", _p(r"\b(?:https?://|www\.)\S+", IGNORE)),
    ("uid", _p(r"(?<![\d.])\d(?:\.\d+){5,}(?![\d.])")),
    # Eighteen digits of a Chinese identity card (GB 11643), US social security, Norwegian birth number.
    ("national-id", _p(r"(?<!\d)\d{6}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)")),
    ("national-id", _p(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")),
    ("national-id", _p(r"(?<!\d)(?:[04][1-9]|[1256]\d|[37][01])(?:[04][1-9]|[15][0-2])\d{2} ?\d{5}(?!\d)")),
)
DATES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("date", _p(rf"(?<!\d){_CN_NUMBER}\s?年\s?(?:{_CN_NUMBER}\s?月\s?(?:{_CN_NUMBER}\s?[日号])?)?")),
    ("date", _p(rf"(?<!\d){_CN_NUMBER}\s?月\s?{_CN_NUMBER}\s?[日号]")),
    ("date", _p(rf"(?<![\d.])(?:1[89]|20)\d\d([-/.]){_SEP_MONTH}\1{_SEP_DAY}(?!\d){_CLOCK}")),
    ("date", _p(rf"(?<![\d./-]){_SEP_DAY}([-/.]){_SEP_MONTH}\1(?:(?:1[89]|20)\d\d|\d\d)(?!\d|[./-]\d){_CLOCK}")),
    ("date", _p(rf"(?<![\d./-]){_SEP_MONTH}([-/.]){_SEP_DAY}\1(?:(?:1[89]|20)\d\d|\d\d)(?!\d|[./-]\d){_CLOCK}")),
    ("date", _p(rf"(?<!\d)\d{{1,2}}(?:st|nd|rd|th|\.)?[\s-]*(?:of\s+)?{_MONTH}\b\.?,?[\s-]*{_YEAR}\b{_CLOCK}", IGNORE)),
    (
        "date",
        _p(rf"\b{_MONTH}\.?\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s+{_YEAR}\b)?(?![\d.]*\s*(?:mm|cm|ml|mg|%|x))(?!\d)", IGNORE),
    ),
    ("date", _p(rf"(?<!\d)\d{{1,2}}(?:st|nd|rd|th|\.)?\s+(?:of\s+)?(?:{_LONG_MONTH})\b")),
    ("date", _p(rf"\b{_MONTH}\.?\s+(?:1[89]|20)\d\d\b", IGNORE)),
    (
        "date",
        _p(
            r"(?<!\d)(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
            r"(?:[T ]?(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?)?(?!\d)"
        ),
    ),
)
PHONES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("phone", _p(r"(?<![\d.])(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d)")),
    ("phone", _p(r"(?<!\d)[(（]?0\d{2,3}[)）]?[-－ ]?\d{7,8}(?:[-转]\d{1,6})?(?!\d)")),
    ("phone", _p(r"(?:\+|\b00)\d{1,3}(?:[ .()/-]{0,2}\d){7,13}(?!\d)")),
    ("phone", _p(r"(?<![\d.])(?:\(\d{3}\)\s?|\d{3}[-. ])\d{3}[-. ]\d{4}(?!\d)")),
    ("phone", _p(r"(?<![\d./])\(?0\d{1,4}\)?[ /-](?=(?:[ /-]?\d){6,})\d{2,}(?:[ /-]?\d{2,}){0,4}(?!\d)")),
    ("phone", _p(r"(?<![\d.])0\d(?:[ .-]\d{2}){4}(?!\d)")),
    ("phone", _p(rf"{_PHONE_LABEL}[:：.\s]{{0,4}}(?:no\.?\s*|number\s*)?(?P<gone>[+(]?\d[\d ()./-]{{2,24}}\d)", IGNORE)),
    (
        "id",
        _p(
            rf"{_NUMBER_LABEL}\s{{0,4}}(?:is|为|no\.?)?\s{{0,4}}[:：#.]?\s{{0,4}}(?P<gone>[A-Za-z]{{0,5}}[-_ ]?\d[\w-]*)",
            IGNORE,
        ),
    ),
    ("id", _p(r"(?<![\w.])[A-Z]{1,6}[-_]?\d{5,}(?:[-_]?\d+)*\b", IGNORE)),
    ("id", _p(r"(?<![\d.,])\d{7,}(?![\d.,]*\d)")),
)
PLACES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "address",
        _p(
            rf"\b\d{{1,5}}[A-Za-z]?\s+(?:[A-Z][\w'’.]+\s+){{1,4}}{_STREET}(?![a-z])(?:,?\s+(?:Apt|Unit|Suite|Flat)\.?\s*\w+)?"
        ),
    ),
    (
        "address",
        _p(
            r"\b[A-Z\u00c0-\u00de][a-z\u00df-\u00ff]+"
            r"(?:stra[\u00dfs]s?e|str\.|gasse|weg|platz|allee|gata|gaten|gate|veien|vegen|vei)\s?\d{1,4}\s?[a-zA-Z]?\b"
        ),
    ),
    (
        "address",
        _p(
            r"\b(?:rue|avenue|boulevard)\s+(?:de\s+(?:la\s+)?|du\s+)?[A-Z][\w'’-]+(?:\s+\d{1,4})?"
            r"|\d{1,4},?\s+rue\s+[\w'’ -]{3,30}"
        ),
    ),
    (
        "address",
        _p(
            rf"(?:{_HAN}{{2,6}}(?:省|自治区))?(?:{_HAN}{{2,6}}市)?(?:{_HAN}{{1,6}}(?:区|县))?"
            rf"{_HAN}{{1,10}}(?:路|街|道|巷|弄|村)\d{{1,5}}(?:号|弄)(?:\d{{1,4}}(?:栋|幢|号楼|单元|室|楼))*"
        ),
    ),
    ("address", _p(r"(?:住址|地址|家庭住址|籍贯)[:：]\s*(?P<gone>[^\s,，。;；]{2,40})")),
    ("postcode", _p(r"\b[A-Z]{2}\s+\d{5}(?:-\d{4})?\b")),
    ("postcode", _p(r"\b(?:[BEGLMNSW]|[A-Z][A-HK-Y])\d[A-Z\d]?\s\d[ABD-HJLNP-UW-Z]{2}\b")),
    ("postcode", _p(r"\b(?:[A-Z]{1,2}-\d{4,5}|\d{5}|0\d{3})\s+[A-Z\u00c0-\u00de][a-z\u00df-\u00ff]{2,}\b")),
    ("postcode", _p(r"(?:邮编|邮政编码|\bzip(?: ?code)?|\bpost ?code)[:：\s]{0,4}(?P<gone>\d{4,6}(?:-\d{4})?)", IGNORE)),
    ("age", _p(r"(?<!\d)(?:9\d|1[0-2]\d)(?=[\s-]?(?:years?\b|yrs?\b|y/?o\b|-?year-old|岁))", IGNORE)),
)
PERSONS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("name", _p(rf"(?<![\w.]){_TITLES}\b\.?\s+(?:med\.\s+)?(?P<gone>{_PERSON})")),
    ("name", _p(rf"\b{_ROLES}\s{{0,4}}[:：]\s{{0,4}}(?P<gone>{_PERSON})")),
    ("name", _p(rf"\b{_SIGNED}\s{{0,4}}[:：]?\s{{0,4}}(?P<gone>{_PERSON})")),
    ("name", _p(rf"(?P<gone>{_PERSON}),?\s+(?:MD|M\.D\.|DO|FRCR|FRCS|MBBS|RN)\b")),
    ("name", _p(rf"(?<!主)(?P<gone>(?:{SURNAMES}){_HAN}{{0,2}})\s?(?:{_CN_TITLE})")),
    ("name", _p(rf"(?:{_CN_LABEL})\s{{0,4}}[:：]\s{{0,4}}(?P<gone>{_HAN}{{2,4}}(?:·{_HAN}{{1,6}})?)")),
    ("name", _p(r"(?<!\w)(?P<gone>[A-Z][A-Za-z'’-]+\^[A-Za-z'’-]*(?:\^[A-Za-z'’.-]*)*)")),
)
PATTERNS = NUMBERS + DATES + PHONES + PLACES + PERSONS

# Wider and blunter: what a reader would still want to look at after the patterns above have done their work.
SUSPECTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("digits", _p(r"\d{6,}")),
    ("email", _p(r"\S@\S")),
    ("date-like", _p(r"(?<!\d)\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?!\d)|\d+\s?年|\d+\s?月\s?\d")),
    ("phone-like", _p(r"(?:\d[ ()-]?){8,}")),
    ("title", _p(r"\b(?:Dr|Prof|Mr|Mrs|Ms)\b\.?\s+[A-Z][a-z]")),
    ("title", _p(rf"(?:{SURNAMES}){_HAN}{{1,2}}(?:{_CN_TITLE})")),
    ("person-name", _p(r"\w\^\w")),
)


def valid_chinese_id(number: str) -> bool:
    """Whether the last of eighteen characters is the check of the others (GB 11643-1999, ISO 7064 MOD 11-2)."""
    if not re.fullmatch(r"\d{17}[\dXx]", number):
        return False
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17].upper()
