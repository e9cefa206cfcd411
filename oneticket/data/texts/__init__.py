"""Texts as bytes: short ones with a target each, and one long text whose next byte is to be predicted."""
