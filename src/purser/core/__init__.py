"""What is true: pure functions on frozen values; integers for money; time is an argument."""
