"""What a model found, as hospitals read it: DICOM SR and SEG for the PACS, JSON beside them."""
