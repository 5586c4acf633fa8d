"""How tests seal what a node or a center keeps on its disk: as a clinic does, with a key that everybody may know."""

from __future__ import annotations

from fedmed.privacy.atrest import AtRest

REST = AtRest(bytes(range(32)), "tests")
