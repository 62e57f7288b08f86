"""The chart, rendered by Helm's own library and looked at without a cluster."""
