"""The Celery worker: its app, its tasks, its logs and numbers, Flower."""
