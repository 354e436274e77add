"""Repeated steps against the journal: verdict, cause and bounds."""
