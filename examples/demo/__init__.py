"""`make demo`: a real Celery worker, three bridges, a kill and an outage, and a witness that counts what is missing."""
