"""Texts made safe: secrets masked, long ones cut, names and halves of characters mended."""
