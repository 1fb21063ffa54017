"""Speed, memory and numerical agreement of methods, measured side by side."""
