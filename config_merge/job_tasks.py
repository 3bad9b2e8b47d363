"""Celery's doorbells of jobs. The work is in the database; running a task twice, late or never loses nothing."""

from uuid import UUID

from celery import shared_task

from config_merge.services import job_runs
from core.wake import ring


@shared_task(name="config_merge.job_tasks.run_job", ignore_result=True)
def run_job(job_id: str) -> None:
    """Work a slice off a job, and ring again while there is more of it."""
    if job_runs.run(UUID(job_id)):
        ring(run_job, job_id)


@shared_task(name="config_merge.job_tasks.sweep_jobs", ignore_result=True)
def sweep_jobs() -> int:
    """Take up jobs whose message was lost or whose worker died."""
    return job_runs.run_open()
