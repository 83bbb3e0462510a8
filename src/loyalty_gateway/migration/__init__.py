"""Moving a merchant's points from one backend to another, in steps that can be taken back."""
