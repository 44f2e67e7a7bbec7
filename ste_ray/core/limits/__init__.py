"""Who may send when, and what may be spent: rate limits, grants, budget, breaker."""
