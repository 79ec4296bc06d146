//! The fields of the LS1028A's reset configuration word: names and bit numbers as in its reference manual, chapter "Reset".
//!
//! Bits that no field has are reserved: they are zero, or `unnamed` in what is decoded.

/// A field: bits `high` down to `low` of the 1024.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) high: usize,
    pub(crate) low: usize,
}

impl Field {
    const fn new(name: &'static str, high: usize, low: usize) -> Self {
        Self { name, high, low }
    }

    /// The largest value it holds.
    pub(crate) fn most(&self) -> u32 {
        u32::MAX >> (31 - (self.high - self.low))
    }
}

/// The field of a name.
pub(crate) fn find(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

/// What a value means, where that helps somebody who reads a dump.
pub(crate) fn meaning(name: &str, value: u32) -> Option<&'static str> {
    MEANINGS.iter().find(|entry| entry.0 == name && entry.1 == value).map(|entry| entry.2)
}

const MEANINGS: [(&str, u32, &str); 9] = [
    ("BOOT_LOC", 21, "SD card"),
    ("BOOT_LOC", 22, "eMMC"),
    ("BOOT_LOC", 26, "FlexSPI NOR"),
    ("SB_EN", 0, "secure boot is left to the fuses"),
    ("SB_EN", 1, "secure boot"),
    ("SDBGEN", 0, "secure debug is closed"),
    ("SDBGEN", 1, "secure debug is open"),
    ("BOOT_HO", 0, "core 0 starts"),
    ("BOOT_HO", 1, "all cores are held off"),
];

/// Every field, by bit number.
pub(crate) const FIELDS: [Field; 67] = [
    Field::new("SYS_PLL_CFG", 1, 0),
    Field::new("SYS_PLL_RAT", 6, 2),
    Field::new("MEM_PLL_CFG", 9, 8),
    Field::new("MEM_PLL_RAT", 15, 10),
    Field::new("CGA_PLL1_CFG", 25, 24),
    Field::new("CGA_PLL1_RAT", 31, 26),
    Field::new("CGA_PLL2_CFG", 33, 32),
    Field::new("CGA_PLL2_RAT", 39, 34),
    Field::new("SYS_PLL_SPD", 128, 128),
    Field::new("MEM_PLL_SPD", 129, 129),
    Field::new("CGA_PLL1_SPD", 132, 132),
    Field::new("CGA_PLL2_SPD", 133, 133),
    Field::new("C1_PLL_SEL", 147, 144),
    Field::new("HWA_CGA_M1_CLK_SEL", 178, 176),
    Field::new("HWA_CGA_M2_CLK_SEL", 181, 179),
    Field::new("HWA_CGA_M3_CLK_SEL", 184, 182),
    Field::new("HWA_CGA_M4_CLK_SEL", 208, 206),
    Field::new("DDR_REFCLK_SEL", 212, 211),
    Field::new("DRAM_LAT", 214, 213),
    Field::new("DDR_RATE", 215, 215),
    Field::new("REQD_CUST_CONFIG_230_229", 230, 229),
    Field::new("BOOT_LOC", 264, 260),
    Field::new("BOOT_HO", 265, 265),
    Field::new("SB_EN", 266, 266),
    Field::new("FLASH_CFG1", 269, 268),
    Field::new("PBI_LENGTH", 287, 276),
    Field::new("SDBGEN", 288, 288),
    Field::new("SYSCLK_FREQ", 301, 292),
    Field::new("GPIO_LED_NUM", 310, 304),
    Field::new("GPIO_LED_EN", 311, 311),
    Field::new("IIC2_PMUX", 354, 352),
    Field::new("IIC3_PMUX", 357, 355),
    Field::new("IIC4_PMUX", 360, 358),
    Field::new("IIC5_PMUX", 363, 361),
    Field::new("IIC6_PMUX", 366, 364),
    Field::new("XSPI1_A_DATA74_PMUX", 369, 367),
    Field::new("XSPI1_A_DATA30_PMUX", 372, 370),
    Field::new("XSPI1_A_BASE_PMUX", 375, 373),
    Field::new("SDHC1_BASE_PMUX", 378, 376),
    Field::new("SDHC2_DAT74_PMUX", 386, 384),
    Field::new("SDHC2_BASE_PMUX", 389, 387),
    Field::new("UART1_SOUTSIN_PMUX", 392, 390),
    Field::new("UART2_SOUTSIN_PMUX", 398, 396),
    Field::new("CLK_OUT_PMUX", 421, 419),
    Field::new("ASLEEP_PMUX", 424, 422),
    Field::new("RESET_REQ_PMUX", 425, 425),
    Field::new("IIC1_PMUX", 426, 426),
    Field::new("HOST_AGT_PEX1", 485, 485),
    Field::new("HOST_AGT_PEX2", 486, 486),
    Field::new("GP_INFO", 799, 768),
    Field::new("EC1_SAI4_5_PMUX", 835, 833),
    Field::new("EC1_SAI3_6_PMUX", 838, 836),
    Field::new("USB_DRVVBUS_PMUX", 841, 840),
    Field::new("USB_PWRFAULT_PMUX", 843, 842),
    Field::new("USB3_CLK_FSEL", 849, 844),
    Field::new("ENETC_RCW", 857, 850),
    Field::new("SPI3_PMUX", 859, 858),
    Field::new("GTX_CLK125_PMUX", 861, 860),
    Field::new("SRDS_PLL_PD_PLL1", 896, 896),
    Field::new("SRDS_PLL_PD_PLL2", 897, 897),
    Field::new("SRDS_PRTCL_S1_L0", 915, 912),
    Field::new("SRDS_PRTCL_S1_L1", 919, 916),
    Field::new("SRDS_PRTCL_S1_L2", 923, 920),
    Field::new("SRDS_PRTCL_S1_L3", 927, 924),
    Field::new("SRDS_PLL_REF_CLK_SEL_S1", 945, 944),
    Field::new("SRDS_DIV_PEX_S1", 949, 948),
    Field::new("SRDS_S1_REFCLK_SRC_SEL", 953, 952),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_apart_and_fit_a_word() {
        let mut next = 0;
        for field in FIELDS {
            assert!(next <= field.low && field.low <= field.high, "{}", field.name);
            assert!(field.high < 1024 && field.high - field.low < 32, "{}", field.name);
            next = field.high + 1;
        }
    }

    #[test]
    fn meanings_belong_to_fields_that_hold_them() {
        assert!(MEANINGS.iter().all(|(name, value, _)| find(name).unwrap().most() >= *value));
    }
}
