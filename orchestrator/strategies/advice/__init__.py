"""What a strategy can say besides its proposals: why this one, how honest it was, when to stop."""
