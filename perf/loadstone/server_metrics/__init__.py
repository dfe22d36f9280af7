"""server_metrics."""
