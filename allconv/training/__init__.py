"""One run: started, resumed, done."""
