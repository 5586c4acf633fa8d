"""DICOM over TCP, seen from the side that is called: PDUs, commands and the acceptor of one association, without I/O."""
