"""Open-Sora 1.0, 1.1 and 1.2: which keys its configurations have, and what becomes of them."""
