"""The verdict: claims, the rules that decide them, and what they came to."""
