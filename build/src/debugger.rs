//! QEMU's port for a debugger, and how to find a trusted application there.

use std::path::Path;

use crate::guest::Images;

/// Where QEMU waits.
pub(crate) const ADDRESS: &str = "127.0.0.1:1234";

/// Says how to stop in a trusted application of the debug build, which `what` names.
pub(crate) fn explain(images: &Images, what: &str, uuid: &str, elf: &Path) {
    eprintln!(
        "the emulated device waits for a debugger at {ADDRESS}:\n  \
         gdb-multiarch {}\n  (gdb) target remote {ADDRESS}\n  (gdb) continue\n\
         OP-TEE loads {what} at the same address each time in this build. Its log, secure.log in the newest folder of\n\
         {}, has the line `ELF ({uuid}) at ADDRESS`; then, in this run or before `continue` in the next,\n  \
         (gdb) add-symbol-file {} -o ADDRESS\n  (gdb) hbreak TA_InvokeCommandEntryPoint\n\
         Other TAs may be at the same address: a stop without a sensible line is one in those, `continue` goes on.",
        images.firmware.with_file_name("tee.elf").display(),
        images.repo.cache().join("qemu").display(),
        elf.display(),
    );
}
