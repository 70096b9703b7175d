"""Decoding sound files to their real end, whatever their headers count."""
