"""From a campaign file to parts that can run; the only place that knows concrete names."""
