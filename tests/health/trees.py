from __future__ import annotations

# Trees of sysfs after what users of these boards have published (jetson-stats, autoware, nv-monitor); "\0" ends no string.
ORIN_JP6 = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64",
    "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0",
    "sys/devices/platform/bus@0/17000000.gpu/load": "437\n",
    "sys/class/devfreq/17000000.gpu/device/load": "437\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "47400\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "43000\n",
    "sys/class/thermal/thermal_zone8/type": "tj-thermal\n",
    "sys/class/thermal/thermal_zone8/temp": "47406\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_GPU_SOC\n",
    "sys/class/hwmon/hwmon1/in1_input": "19088\n",
    "sys/class/hwmon/hwmon1/curr1_input": "248\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_CV\n",
    "sys/class/hwmon/hwmon1/in2_input": "19080\n",
    "sys/class/hwmon/hwmon1/curr2_input": "40\n",
    "sys/class/hwmon/hwmon1/in3_label": "NC\n",
    "sys/class/hwmon/hwmon1/in3_input": "0\n",
    "sys/class/hwmon/hwmon1/curr3_input": "0\n",
    "sys/class/hwmon/hwmon1/in7_label": "sum of shunt voltages\n",
    "sys/class/hwmon/hwmon1/in7_input": "1\n",
    "sys/class/hwmon/hwmon1/curr7_input": "9999999\n",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "12\n",
    "sys/kernel/debug/cactmon/mc_all": "98334\n",
    "sys/kernel/debug/bpmp/debug/clk/emc/rate": "3199000000\n",
    "proc/meminfo": "MemTotal:       64349188 kB\nMemFree:        20000000 kB\nMemAvailable:   32174594 kB\n",
    "proc/loadavg": "1.50 0.70 0.40 2/900 4242\n",
    "proc/uptime": "626630.11 5000000.00\n",
}
ORIN_NANO_JP6 = {
    **{path: words for path, words in ORIN_JP6.items() if "hwmon1" not in path and "kernel" not in path},
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5024\n",
    "sys/class/hwmon/hwmon1/curr1_input": "1000\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/class/hwmon/hwmon1/in2_input": "5024\n",
    "sys/class/hwmon/hwmon1/curr2_input": "200\n",
}
ORIN_JP7 = {
    **{path: words for path, words in ORIN_JP6.items() if "platform" not in path and "cactmon" not in path},
    "etc/nv_tegra_release": "# R39 (release), REVISION: 2.0",
    "sys/kernel/debug/bpmp/debug/actmon/mc_all_avg_activity": "1599500\n",
}
THOR_JP7 = {
    "etc/nv_tegra_release": "# R38 (release), REVISION: 2.0",
    "sys/class/devfreq/gpu-gpc-0/cur_freq": "1575000000\n",
    "sys/class/thermal/thermal_zone0/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "38250\n",
    "proc/meminfo": "MemTotal: 100 kB\n",
}
XAVIER_JP5 = {
    "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1",
    "sys/devices/gpu.0/load": "999\n",
    "sys/class/thermal/thermal_zone1/type": "GPU-therm\n",
    "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/thermal/thermal_zone2/type": "AO-therm\n",
    "sys/class/thermal/thermal_zone2/temp": "30500\n",
}
NANO_JP4 = {
    "proc/device-tree/compatible": "nvidia,p3450-0000\0nvidia,jetson-nano\0nvidia,tegra210\0",
    "sys/devices/gpu.0/load": "0\n",
    "sys/class/thermal/thermal_zone2/type": "GPU-therm\n",
    "sys/class/thermal/thermal_zone2/temp": "41000\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "2341\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_1": "POM_5V_GPU\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power1_input": "0\n",
}
X86 = {
    "proc/meminfo": "MemTotal:       16000000 kB\nMemAvailable:    4000000 kB\n",
    "proc/loadavg": "0.00 0.00 0.00 1/1 1\n",
    "proc/uptime": "10.5 1.0\n",
    "proc/net/snmp": "Ip: Forwarding\nIp: 1\nTcp: RtoAlgorithm OutSegs RetransSegs\nTcp: 1 10000 25\n",
}


def laid_out(folder, tree):
    """Files of a tree below a folder."""
    for path, words in tree.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(words)
    return folder


def values(readings):
    return {(each.device, each.name): each.value for each in readings}
