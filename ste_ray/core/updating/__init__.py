"""A trained run brought up to date: what of it stays, what is explored anew, and what it cost."""
