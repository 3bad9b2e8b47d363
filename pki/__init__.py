"""Floor 2: certificate authorities, certificates, revocation and rotation. It knows tenants and no device."""
