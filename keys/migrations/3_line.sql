-- The factory's line: what stations reported, where each device stands by the last report, who has one in hand, and who is logged in
-- to the page. The same for both databases.
CREATE TABLE line_reports (
    id TEXT PRIMARY KEY NOT NULL,
    device_id TEXT NOT NULL,
    time BIGINT NOT NULL,
    file TEXT NOT NULL
);
CREATE INDEX line_reports_of_device ON line_reports (device_id, time);
CREATE TABLE line_devices (
    device_id TEXT PRIMARY KEY NOT NULL,
    station TEXT NOT NULL,
    sku TEXT NOT NULL,
    state TEXT NOT NULL,
    step TEXT NOT NULL,
    failure TEXT NOT NULL,
    what TEXT NOT NULL,
    help TEXT NOT NULL,
    seconds BIGINT NOT NULL,
    time BIGINT NOT NULL,
    voucher TEXT NOT NULL
);
CREATE INDEX line_devices_by_state ON line_devices (state, device_id);
CREATE INDEX line_devices_by_failure ON line_devices (failure, time, device_id);
CREATE INDEX line_devices_by_time ON line_devices (time, device_id);
-- Counted as reports come, so that nothing is counted when somebody looks.
CREATE TABLE line_yields (
    day BIGINT NOT NULL,
    station TEXT NOT NULL,
    sku TEXT NOT NULL,
    first BIGINT NOT NULL,
    passed BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    latest BIGINT NOT NULL,
    PRIMARY KEY (day, station, sku)
);
CREATE TABLE vouchers (
    fingerprint TEXT PRIMARY KEY NOT NULL,
    device_id TEXT NOT NULL,
    time BIGINT NOT NULL,
    file TEXT NOT NULL
);
CREATE INDEX vouchers_of_device ON vouchers (device_id, time);
CREATE INDEX vouchers_by_time ON vouchers (time, fingerprint);
CREATE TABLE line_claims (
    device_id TEXT PRIMARY KEY NOT NULL,
    station TEXT NOT NULL,
    sku TEXT NOT NULL,
    step TEXT NOT NULL,
    since BIGINT NOT NULL,
    ends BIGINT NOT NULL
);
CREATE TABLE page_sessions (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    ends BIGINT NOT NULL
);
-- The last one-time password that somebody used: none is good twice.
CREATE TABLE page_steps (name TEXT PRIMARY KEY NOT NULL, step BIGINT NOT NULL);
