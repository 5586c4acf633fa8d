"""What a clinic's IT staff run before anything is installed: probes that observe, checks that judge, one finding each."""
