"""What is drawn, with matplotlib loaded only then."""
