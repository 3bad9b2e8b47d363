"""What signing in leaves: sessions, second factors and their recovery codes.

Invariant: no column opens a door by itself. Session keys and shared secrets are ciphertext, recovery codes digests.
"""

from django.db import models

from core.fields import EncryptedTextField
from core.models import BaseModel


class SignInSession(BaseModel):
    """A browser somebody is signed in with; Django's own session is found by its key."""

    user = models.ForeignKey("tenancy.User", on_delete=models.CASCADE, related_name="sign_in_sessions")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    key = EncryptedTextField(editable=False)
    # Digest of what ties a session to the password: another password, and the session counts no more.
    stamp = models.CharField(max_length=64, editable=False)
    address = models.CharField(max_length=45, blank=True, editable=False)
    user_agent = models.CharField(max_length=256, blank=True, editable=False)
    last_seen_at = models.DateTimeField(editable=False)
    expires_at = models.DateTimeField(db_index=True, editable=False)

    class Meta(BaseModel.Meta):
        verbose_name = "session"

    def __str__(self) -> str:
        return f"session of {self.created:%Y-%m-%d %H:%M}"


class SecondFactor(BaseModel):
    """A person's authenticator app (TOTP, RFC 6238); a row exists only after a first code was right.

    `last_step` is the time step of the last code that was taken: no code counts twice. `failures` and `blocked_until`
    slow down who guesses, whatever addresses the guesses come from.
    """

    user = models.OneToOneField("tenancy.User", on_delete=models.CASCADE, related_name="second_factor")
    secret = EncryptedTextField(editable=False)
    last_step = models.BigIntegerField(default=0, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False)
    blocked_until = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return f"second factor of {self.user_id}"


class RecoveryCode(models.Model):
    """One of the codes that replace the app once each; its digest is all that is kept."""

    factor = models.ForeignKey(SecondFactor, on_delete=models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("factor", "digest"), name="recovery_code_unique"),)

    def __str__(self) -> str:
        return "used recovery code" if self.used_at else "recovery code"
