"""One HTML file in which a network runs, with no server and no network."""
