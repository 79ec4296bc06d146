# What recipes of TrustBox share.
BBIMPORTS = ["keys", "machines"]
