"""The parts of the page of units: templates, style, scripts."""
