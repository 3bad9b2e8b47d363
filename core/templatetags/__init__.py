"""What the admin's templates need beside Django's own filters."""
