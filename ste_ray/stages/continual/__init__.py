"""The continual stage: rounds of tools, each trained from the round before."""
