"""Everything that hooks into Celery's and kombu's private parts."""
