-- The factory certifies the device key too. The same for both databases.
ALTER TABLE devices ADD COLUMN device_key_certificate TEXT NOT NULL DEFAULT '';
