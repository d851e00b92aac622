"""A model in vLLM: recorded at its speed, and steered request by request while it is served."""
