"""What happens in a run; no Celery in here."""
