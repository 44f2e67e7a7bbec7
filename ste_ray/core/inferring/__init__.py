"""What is asked at inference, and the flow that answers a test query."""
