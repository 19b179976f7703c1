"""Open-Sora-Plan 1.3: which flags its programs take, and what becomes of them."""
