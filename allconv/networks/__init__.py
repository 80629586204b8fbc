"""The papers' networks, their weights and the classifier made of both."""
