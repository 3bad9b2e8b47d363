"""Boot configurations, images, tracks and quotas over REST."""
