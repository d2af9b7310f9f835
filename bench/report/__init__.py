"""Tables: pure functions of records, counts and reported figures."""
