"""role"""
