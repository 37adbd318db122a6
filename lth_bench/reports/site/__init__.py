"""The site of all boards: a front page, and pages of boards, methods and records."""
