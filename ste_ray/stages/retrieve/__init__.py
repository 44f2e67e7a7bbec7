"""The retrieve stage on Ray Data: candidate tools and demonstrations for each query."""
