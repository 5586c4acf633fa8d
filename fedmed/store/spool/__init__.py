"""What a device received and made and has not handed on: on the disk before it is acknowledged, in order, never twice."""
