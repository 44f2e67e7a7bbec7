"""Who may send when, and what may be spent: rate limits, leases, budget, breaker."""
