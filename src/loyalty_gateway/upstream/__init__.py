"""Where points are carried out at a vendor's real server instead of here."""
