"""HTTP as cameras speak it: client, logins, deadlines."""
