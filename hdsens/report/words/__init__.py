"""Sentences of the page: the answer first, then captions and notes."""
