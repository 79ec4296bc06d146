//! UUIDs that belong to the TEE itself: no owner can authorise a publisher for them.
//!
//! An enclave under the UUID of a pseudo-TA or a well-known TA would answer in its place.

use trustbox_api::Error;
use trustbox_api::key::Uuid;

/// Refuses reserved UUIDs.
pub fn check(uuid: &Uuid) -> Result<(), Error> {
    if RESERVED.contains(&uuid.0.0) || *uuid == trustbox_api::TRUSTBOX_UUID {
        return Err(Error::ReservedUuid);
    }
    Ok(())
}

const fn uuid(bytes: u128) -> [u8; 16] {
    bytes.to_be_bytes()
}

/// Pseudo-TAs and TAs that OP-TEE 4.10 names in its headers, and the firmware TPM of the field.
const RESERVED: &[[u8; 16]] = &[
    uuid(0),                                      // the nil UUID
    uuid(0xbc50d971_d4c9_42c4_82cb_343fb7f37896), // FTPM_UUID
    uuid(0x6272636d_2019_0716_4243_4d5f53434849), // BNXT_SERVICE_UUID
    uuid(0x0feb839c_ee25_4920_8ee3_ac8daa860d3b), // CROS_HDCP_PROV4_TA_UUID
    uuid(0xed800e33_3c58_4cae_a7c0_fd160e35e00d), // CROS_HWSEC_TA_UUID
    uuid(0x6272636d_2019_0701_4243_4d5f454c4f47), // ELOG_SERVICE_UUID
    uuid(0x6272636d_2018_1101_4243_4d5f4750494f), // GPIO_SERVICE_UUID
    uuid(0x6272636d_2019_0201_4243_4d5f524e4730), // HWRNG_SERVICE_UUID
    uuid(0xfd02c9da_306c_48c7_a49c_bbd827ae86ee), // PKCS11_TA_UUID
    uuid(0x3f3eb880_3639_11ec_9b9d_0f3fc9468f50), // PTA_APDU_UUID
    uuid(0x39800861_182a_4720_9b67_2bcd622bc0b5), // PTA_ATTESTATION_UUID
    uuid(0x94cf71ad_80e6_40b5_a7c6_3dc501eb2803), // PTA_BSEC_UUID
    uuid(0xef477737_0db1_4a9d_8437_f2f535c0bd92), // PTA_DEK_BLOB_UUID
    uuid(0x7011a688_ddde_4053_a5a9_7b3c4ddf13b8), // PTA_DEVICE_UUID
    uuid(0xbfdbe409_3302_4abf_99bc_5f623226a739), // PTA_DIGPROG_UUID
    uuid(0x2f6e0d48_c574_426d_824e_40198cde5cac), // PTA_GPROF_UUID
    uuid(0xd96a5b40_c3e5_21e3_8794_1002a5d5c61b), // PTA_INVOKE_TESTS_UUID
    uuid(0xacc50f40_0613_4abd_8dfe_a964cb74eb69), // PTA_K3_OTP_KEYWRITING_UUID
    uuid(0x83268b7c_85e3_11e8_adc0_fa7ae01bbebc), // PTA_MANUFACT_PROTEC_UUID
    uuid(0x9abdf255_d8fa_40de_8f60_4d0b27927b7d), // PTA_OCOTP_UUID
    uuid(0x5cfa57f6_1a4c_407f_94a7_a56c8c47019d), // PTA_RK_SECURE_BOOT_UUID
    uuid(0xab7a617c_b8e7_4d8f_8301_d09b61036b64), // PTA_RNG_UUID
    uuid(0x54af4a68_19be_40d7_bbe6_8950350a8744), // PTA_RPROC_UUID
    uuid(0xf389f8c8_845f_496c_8bbe_d64bd24c92fd), // PTA_RTC_UUID
    uuid(0xa8cfe406_d4f5_4a2e_9f8d_a25dc754c099), // PTA_SCMI_UUID
    uuid(0xbe0e5821_e718_4f77_ab3e_8e6c73a9c735), // PTA_SCP03_UUID
    uuid(0x6e256cba_fc4d_4941_ad09_2ca1860342dd), // PTA_SECSTOR_TA_MGMT_UUID
    uuid(0x3b996a7d_2c2b_4a49_a896_e1fb5766d2f4), // PTA_SOCKET_UUID
    uuid(0xdd05bc8b_9f3b_49f0_b649_01aa10c1c210), // PTA_STM32_DBG_ACCESS_UUID
    uuid(0xed32d533_99e6_4209_9cc0_2d72cdd998a7), // PTA_STMM_UUID
    uuid(0x3a2f8978_5dc0_11e8_9c2d_fa7ae01bbebc), // PTA_SYSTEM_UUID
    uuid(0xa77955f9_eea1_44fd_add5_4a9d962afcf5), // PTA_VERAISON_ATTESTATION_UUID
    uuid(0x721f4da9_da05_40d4_a1a3_8377c1e08b0a), // PTA_WIDEVINE_UUID
    uuid(0x6272636d_2019_0801_4243_4d5f57445430), // SEC_WD_SERVICE_UUID
    uuid(0x6272636d_2018_1101_4243_4d5f534f5450), // SOTP_SERVICE_UUID
    uuid(0xd96a5b40_e2c7_b1af_8794_1002a5d5c61b), // STATS_UUID
    uuid(0x023f8f1a_292a_432b_8fc4_de8471358067), // TA_AVB_UUID
    uuid(0xa92d116c_ce27_4917_b30c_4a416e2d9351), // TA_OPTEE_OEMCRYPTO_UUID
    uuid(0x80a4c275_0a47_4905_8285_1486a9771a08), // TA_REMOTEPROC_UUID
    uuid(0xf04a0fe7_1f5d_4b9b_abf7_619b85b4ce8c), // TRUSTED_KEYS_UUID
];
