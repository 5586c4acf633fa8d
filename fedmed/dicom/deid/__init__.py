"""De-identification: DICOM PS3.15 Annex E, the Basic Profile of edition 2026c and four of its options."""
